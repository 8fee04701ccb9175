package conf
import ("testing";"os";"fmt")
func TestX(t *testing.T){
 c,err:=Load(os.Getenv("F"))
 if err!=nil {fmt.Println(err);return}
 fmt.Println(c.Warnings.Error()); fmt.Println(c)
}
